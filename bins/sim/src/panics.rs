//! Panics of actors, caught and told: their place is kept, nothing is printed meanwhile.

use std::cell::RefCell;

use tidegate_sim::oracle::Violation;
use tidegate_sim::trial::INVARIANTS;

thread_local! {
    static LAST: RefCell<String> = const { RefCell::new(String::new()) };
}

/// From here on panics are kept for [`place`] and not printed.
pub(crate) fn keep_quiet() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string);
        LAST.set(place.unwrap_or_default());
    }));
}

/// Adds to a violation the place of the panic behind it, if there is one on this thread.
pub(crate) fn place(violation: &mut Violation) {
    if violation.guarantee == INVARIANTS {
        LAST.with_borrow(|place| {
            violation.text += " at ";
            violation.text += place;
        });
    }
}

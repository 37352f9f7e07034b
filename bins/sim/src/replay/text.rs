//! What a replay says to people.

use std::fmt::Debug;

use tidegate_recording::{End, Recording, Step};
use tidegate_sim::cells::AnyCell;
use tidegate_sim::replay::Replayed;

use super::files::Found;
use super::{Difference, Outcome};

/// Characters of an input or an effect in a difference; `--show` prints all of it.
const SHORT: usize = 1_000;

/// A file in a line, and a difference below it.
pub(super) fn line(found: &Found, recording: &Recording<'_>, outcome: &Outcome) -> String {
    let header = recording.header();
    let mut line = format!(
        "{}: {}, life {}, segment {}: {} inputs",
        found.path.display(),
        header.actor,
        header.life,
        header.segment,
        outcome.steps
    );
    if header.inputs_lost > 0 {
        line += &format!(" (of this life, {} were not recorded)", header.inputs_lost);
    }
    match (&outcome.difference, &outcome.panicked) {
        (Some(difference), _) => {
            line += &format!(", and then it differs\n{}", difference.text);
            if !line.ends_with('\n') {
                line += "\n";
            }
            return line;
        }
        (None, Some((input, words))) => {
            line += &format!(", as recorded; it panics at input {input}, as it did then: {words}");
        }
        (None, None) => line += ", as recorded",
    }
    match recording.end() {
        None => line += &format!("; cut off at byte {}", recording.length()),
        Some(End::Gap) => line += "; then there is a gap",
        Some(End::Continued | End::Stopped | End::Panicked) => {}
    }
    line + "\n"
}

pub(super) fn difference(replayed: &Replayed<'_>, panicked_then: bool) -> Difference {
    let step = replayed.step;
    let then = match step.done {
        _ if panicked_then => "it panicked".to_owned(),
        Some(then) => format!("{} effects, digest {:016x}", then.effects, then.hash),
        None => "unknown".to_owned(),
    };
    let mut text = head(step) + &format!("  input  {}\n  then   {then}\n", short(&replayed.input));
    text += &now(replayed, short);
    at(step, text)
}

pub(super) fn panics_now(step: &Step<'_>, words: &str) -> Difference {
    let then = match step.done {
        Some(then) => format!("{} effects, digest {:016x}", then.effects, then.hash),
        None => "unknown: the recording was cut off in this input".to_owned(),
    };
    at(
        step,
        head(step) + &format!("  then   {then}\n  now    it panics: {words}\n"),
    )
}

/// An input that is shown, and the state before it.
pub(super) fn before(step: &Step<'_>, cell: &AnyCell) -> String {
    head(step) + &format!("\nstate before\n{cell:#?}\n")
}

/// What it led to, and the state after it.
pub(super) fn after(replayed: &Replayed<'_>, cell: &AnyCell) -> String {
    let mut text = format!("\ninput\n{:#?}\n\n", replayed.input);
    text += &now(replayed, |effect| format!("{effect:#?}"));
    text + &format!("\nstate after\n{cell:#?}\n\n")
}

fn head(step: &Step<'_>) -> String {
    format!(
        "input {} at byte {}, {} of the host's monotonic clock, {} ms of its wall clock\n",
        step.number, step.offset, step.now.mono, step.now.wall.unix_ms
    )
}

fn now(replayed: &Replayed<'_>, print: impl Fn(&dyn Debug) -> String) -> String {
    let mut text = format!(
        "  now    {} effects, digest {:016x}\n",
        replayed.digest.effects, replayed.digest.hash
    );
    for effect in &replayed.effects {
        text += &format!("         {}\n", print(effect));
    }
    if let Some(answer) = &replayed.answer {
        text += &format!("  answer {}\n", print(answer));
    }
    text
}

fn at(step: &Step<'_>, text: String) -> Difference {
    Difference {
        input: Some(step.number),
        offset: step.offset,
        text,
    }
}

fn short(what: &dyn Debug) -> String {
    let text = format!("{what:?}");
    let length = text.chars().count();
    if length <= SHORT {
        return text;
    }
    let cut: String = text.chars().take(SHORT).collect();
    format!("{cut}… ({length} characters; --show prints them all)")
}

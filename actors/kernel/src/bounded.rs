//! A first-in first-out queue with a capacity.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// Refuses what does not fit and gives it back, so that the caller has to decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bounded<T> {
    items: VecDeque<T>,
    capacity: usize,
}

impl<T> Bounded<T> {
    pub fn new(capacity: usize) -> Self {
        Self {
            items: VecDeque::new(),
            capacity,
        }
    }

    /// Appends, or returns the item when the queue is full.
    pub fn push(&mut self, item: T) -> Result<(), T> {
        if self.items.len() >= self.capacity {
            return Err(item);
        }
        self.items.push_back(item);
        Ok(())
    }

    pub fn pop(&mut self) -> Option<T> {
        self.items.pop_front()
    }

    pub fn front(&self) -> Option<&T> {
        self.items.front()
    }

    pub fn len(&self) -> usize {
        self.items.len()
    }

    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn capacity(&self) -> usize {
        self.capacity
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter()
    }

    pub fn retain(&mut self, keep: impl FnMut(&T) -> bool) {
        self.items.retain(keep);
    }

    pub fn clear(&mut self) {
        self.items.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_queue_gives_the_item_back() {
        let mut queue = Bounded::new(2);
        assert_eq!(queue.push('a'), Ok(()));
        assert_eq!(queue.push('b'), Ok(()));
        assert_eq!(queue.push('c'), Err('c'));
        assert_eq!(queue.pop(), Some('a'));
        assert_eq!(queue.push('c'), Ok(()));
        assert_eq!(queue.iter().collect::<String>(), "bc");
    }

    #[test]
    fn it_tells_what_it_holds_and_lets_go_of_it() {
        let mut queue = Bounded::new(3);
        assert!(queue.is_empty() && queue.front().is_none());
        for item in ['a', 'b', 'c'] {
            assert_eq!(queue.push(item), Ok(()));
        }
        assert_eq!((queue.len(), queue.capacity()), (3, 3));
        assert_eq!((queue.is_empty(), queue.front()), (false, Some(&'a')));
        queue.retain(|item| *item != 'a');
        assert_eq!((queue.len(), queue.front()), (2, Some(&'b')));
        queue.clear();
        assert_eq!((queue.len(), queue.is_empty()), (0, true));
    }
}

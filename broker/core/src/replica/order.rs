//! The order of produce streams: after a refusal nothing later of the same window is appended.

use std::collections::HashMap;

use super::effect::{Order, OrderStream};

/// Windows of all streams that write to one partition. A stream's entry lives until the stream is
/// closed, so there are at most as many as open streams.
#[derive(Default)]
pub(super) struct OrderWindows {
    streams: HashMap<OrderStream, Window>,
}

struct Window {
    number: u32,
    next_position: u64,
}

impl OrderWindows {
    /// Whether everything before `order` in its window was appended.
    pub(super) fn is_next(&mut self, order: Order) -> bool {
        let window = self.streams.entry(order.stream).or_insert(Window {
            number: order.window,
            next_position: 0,
        });
        if window.number < order.window {
            *window = Window {
                number: order.window,
                next_position: 0,
            };
        }
        window.number == order.window && window.next_position == order.position
    }

    /// The batch at `order` was appended. What was refused never gets here, so its window stays
    /// where it is and matches no later position.
    pub(super) fn advance(&mut self, order: Order) {
        let window = self
            .streams
            .get_mut(&order.stream)
            .expect("is_next has made the entry");
        assert_eq!(window.next_position, order.position);
        window.next_position += 1;
    }

    /// The stream has ended.
    pub(super) fn close(&mut self, stream: OrderStream) {
        self.streams.remove(&stream);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(window: u32, position: u64) -> Order {
        Order {
            stream: OrderStream(1),
            window,
            position,
        }
    }

    #[test]
    fn after_a_refusal_only_a_higher_window_goes_on() {
        let mut windows = OrderWindows::default();
        assert!(windows.is_next(at(0, 0)));
        windows.advance(at(0, 0));
        assert!(
            windows.is_next(at(0, 1)),
            "refused for another reason, so not advanced"
        );
        assert!(!windows.is_next(at(0, 2)));
        assert!(!windows.is_next(at(0, 3)));
        assert!(windows.is_next(at(1, 0)));
        windows.advance(at(1, 0));
        assert!(
            !windows.is_next(at(0, 1)),
            "an older window never comes back"
        );
    }

    #[test]
    fn a_retry_of_the_refused_position_is_possible() {
        let mut windows = OrderWindows::default();
        assert!(windows.is_next(at(0, 0)));
        assert!(windows.is_next(at(0, 0)));
    }

    #[test]
    fn streams_do_not_disturb_each_other() {
        let mut windows = OrderWindows::default();
        assert!(windows.is_next(at(0, 0)));
        let other = Order {
            stream: OrderStream(2),
            window: 0,
            position: 0,
        };
        assert!(windows.is_next(other));
        windows.close(OrderStream(1));
        windows.advance(other);
    }
}

//! Messages that wait for their receiver: of each kind the newest, so that there are never more than there are kinds,
//! however long nobody takes them.

use super::message::Message;

/// In the order in which they are to be sent, each with its number.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    waiting: Vec<(u64, Message)>,
    next: u64,
}

impl Outbox {
    /// Takes the place of one of its kind, at the end.
    pub(super) fn put(&mut self, message: Message) {
        let kind = message.event.as_str();
        self.waiting.retain(|(_, waiting)| waiting.event.as_str() != kind);
        self.waiting.push((self.next, message));
        self.next += 1;
    }

    /// The one that has waited longest.
    pub(super) fn first(&self) -> Option<(u64, &Message)> {
        self.waiting.first().map(|(number, message)| (*number, message))
    }

    /// It was sent. One that has taken its place meanwhile stays.
    pub(super) fn remove(&mut self, number: u64) {
        self.waiting.retain(|(waiting, _)| *waiting != number);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Event;
    use super::super::message::Subject;
    use super::*;

    fn put(outbox: &mut Outbox, event: Event, backup_id: &str) {
        let subject = Subject::without_record(backup_id, String::new());
        outbox.put(Message::new(event, subject, None));
    }

    fn first(outbox: &Outbox) -> (u64, &str) {
        let (number, message) = outbox.first().unwrap();
        (number, message.event.as_str())
    }

    #[test]
    fn the_newest_of_a_kind_waits_and_all_go_in_order() {
        let mut outbox = Outbox::default();
        put(&mut outbox, Event::Failed, "a");
        put(&mut outbox, Event::Recovered, "b");
        put(&mut outbox, Event::Failed, "c");
        assert_eq!((outbox.len(), first(&outbox)), (2, (1, "recovered")));
        outbox.remove(1);
        // It was on its way when another took its place.
        assert_eq!(first(&outbox), (2, "failed"));
        put(&mut outbox, Event::Failed, "d");
        outbox.remove(2);
        assert_eq!(first(&outbox), (3, "failed"));
        outbox.remove(3);
        assert_eq!(outbox.len(), 0);
    }
}

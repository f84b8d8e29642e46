//! A session put down and taken up again, for hosts that keep the socket while the program sleeps.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Phase, ServerConfig, ServerSession};

/// What is left of a session that owes nothing: enough to go on later, small enough to be noted on the socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestingSession {
    session: u64,
    credit: i64,
    profiles: u16,
}

impl ServerSession {
    /// Describes the session if it may be put down: HELLO was accepted, nothing is owed, read, or waits to be sent.
    pub fn rest(&self) -> Option<RestingSession> {
        let idle = self.phase == Phase::Open
            && self.entries.is_empty()
            && self.owed.is_empty()
            && self.reading == 0
            && self.control.is_empty()
            && self.actions.is_empty();
        idle.then_some(RestingSession { session: self.session, credit: self.credit, profiles: self.profiles })
    }

    /// Takes a session up again. The note may have been changed by nobody but us, but is not believed beyond the limits.
    pub fn wake(config: ServerConfig, resting: RestingSession, now: Duration) -> Self {
        let mut session = Self::new(config, resting.session, now);
        session.phase = Phase::Open;
        session.credit = resting.credit.min(i64::from(config.window_max));
        session.profiles = resting.profiles;
        session
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::Hash;
    use crate::envelope::seal_raw;
    use crate::frame::{ClientFrame, Hello, ServerFrame, Tier};
    use crate::server::ServerAction;

    const T0: Duration = Duration::from_secs(5);

    fn drain(session: &mut ServerSession) -> Vec<ServerFrame> {
        std::iter::from_fn(|| session.poll_transmit()).map(|m| ServerFrame::parse(&m).expect("frames")).collect()
    }

    fn get(request: u32, hash: Hash) -> Vec<u8> {
        ClientFrame::Get { request, priority: 0, fresh: false, hashes: vec![hash] }.emit()
    }

    #[test]
    fn a_session_rests_when_it_owes_nothing_and_goes_on_with_its_credit() {
        let config = ServerConfig::default();
        let mut session = ServerSession::new(config, 9, T0);
        assert_eq!(session.rest(), None, "HELLO has not come");
        let hello = Hello {
            version_min: 1,
            version_max: 1,
            window: 100_000,
            max_message: 1 << 20,
            codecs: 3,
            manifest: Hash::of(b"root"),
            token: Bytes::new(),
        };
        session.message(T0, &ClientFrame::Hello(hello).emit());
        assert!(matches!(session.poll_action(), Some(ServerAction::Open { .. })));
        assert_eq!(session.rest(), None, "the image is being opened");
        session.opened(Ok(()));
        assert_eq!(session.rest(), None, "WELCOME waits");
        drain(&mut session);
        let hash = Hash::of(b"x");
        session.message(T0, &get(1, hash));
        assert_eq!(session.rest(), None, "an answer is owed");
        assert!(matches!(session.poll_action(), Some(ServerAction::Read { .. })));
        session.object(hash, false, Ok((seal_raw(&[7; 60_000]), Tier::Origin)));
        drain(&mut session);
        let resting = session.rest().expect("nothing is owed");

        let later = T0 + Duration::from_secs(86_400);
        let mut woken = ServerSession::wake(config, resting.clone(), later);
        woken.tick(later);
        assert!(woken.is_open(), "sleep is not silence");
        assert_eq!(woken.rest(), Some(resting));
        // 40 kB of credit are left: one more object may go, and then nothing.
        for (request, word) in [(2, b"y"), (3, b"z")] {
            let hash = Hash::of(word);
            woken.message(later, &get(request, hash));
            while let Some(action) = woken.poll_action() {
                assert!(matches!(action, ServerAction::Read { .. }));
                woken.object(hash, false, Ok((seal_raw(&[7; 60_000]), Tier::Memory)));
            }
            assert_eq!(drain(&mut woken).len(), usize::from(request == 2));
        }
    }

    #[test]
    fn a_note_gives_no_more_credit_than_the_limits_do() {
        let resting = RestingSession { session: 1, credit: i64::MAX, profiles: 0 };
        let config = ServerConfig { window_max: 1000, ..ServerConfig::default() };
        assert_eq!(ServerSession::wake(config, resting, T0).rest().map(|resting| resting.credit), Some(1000));
    }
}

//! A server session under any sequence of messages and answers.

use std::time::Duration;

use block_proto::frame::Tier;
use block_proto::{ReadError, ServerAction, ServerConfig, ServerSession, envelope};

/// Never more reads at once than its limit, and never an action after its end.
pub(crate) fn server_session(data: &[u8]) {
    let Some(messages) = crate::made::<Vec<(u16, Vec<u8>)>>(data) else { return };
    let mut now = Duration::ZERO;
    let config = ServerConfig { profiles: 1, ..ServerConfig::default() };
    let mut session = ServerSession::new(config, 1, now);
    let mut reading = Vec::new();
    for (wait, message) in messages {
        now += Duration::from_millis(wait.into());
        session.tick(now);
        session.message(now, &message);
        while let Some(action) = session.poll_action() {
            match action {
                ServerAction::Open { .. } => session.opened(Ok(())),
                ServerAction::Read { hash, fresh, .. } => reading.push((hash, fresh)),
                ServerAction::Profile { .. } => {}
                ServerAction::Close { .. } => assert!(session.is_closed()),
            }
        }
        assert!(reading.len() <= config.max_reads || session.is_closed());
        if wait % 2 == 0
            && let Some((hash, fresh)) = reading.pop()
        {
            let answer =
                if wait % 3 == 0 { Err(ReadError::NotFound) } else { Ok((envelope::seal_raw(&message), Tier::Origin)) };
            session.object(hash, fresh, answer);
        }
        if wait % 5 == 0 {
            session.poll_transmit();
        }
    }
}

//! getrandom(2).

use super::table::{Args, Row, wait};
use crate::{Errno, Result, SyscallCx};

pub(super) const ROWS: &[Row] = &[wait!(355, "getrandom", getrandom)];

/// Bytes made at a time.
const PIECE: usize = 4096;

async fn getrandom(cx: &SyscallCx, [at, len, flags, ..]: Args) -> Result<i64> {
    const GRND_RANDOM: u64 = 2;
    const GRND_INSECURE: u64 = 4;
    if flags > 7 || flags & (GRND_RANDOM | GRND_INSECURE) == GRND_RANDOM | GRND_INSECURE {
        return Err(Errno::EINVAL);
    }
    let len = len.min(i32::MAX as u64);
    let mut done = 0;
    let mut piece = [0; PIECE];
    while done < len {
        let now = ((len - done) as usize).min(PIECE);
        cx.kernel.host.entropy.fill(&mut piece[..now]);
        if let Err(errno) = cx.write_user(at + done, &piece[..now]).await {
            return if done > 0 { Ok(done as i64) } else { Err(errno) };
        }
        done += now as u64;
        if done < len && cx.task.signal_pending() {
            break;
        }
    }
    Ok(done as i64)
}

//! Messages of either side: never a panic, and what parses survives a round trip.
#![no_main]

use block_proto::frame::{ClientFrame, ServerFrame};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(frame) = ClientFrame::parse(data) {
        assert_eq!(ClientFrame::parse(&frame.emit()), Ok(frame));
    }
    if let Ok(frame) = ServerFrame::parse(&data.to_vec().into()) {
        assert_eq!(ServerFrame::parse(&frame.emit().into()), Ok(frame));
    }
});

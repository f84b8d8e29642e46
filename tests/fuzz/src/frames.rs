//! Messages of either side.

use block_proto::frame::{ClientFrame, ServerFrame};

/// What parses survives a round trip.
pub(crate) fn frames(data: &[u8]) {
    if let Ok(frame) = ClientFrame::parse(data) {
        assert_eq!(ClientFrame::parse(&frame.emit()), Ok(frame));
    }
    if let Ok(frame) = ServerFrame::parse(&data.to_vec().into()) {
        assert_eq!(ServerFrame::parse(&frame.emit().into()), Ok(frame));
    }
}

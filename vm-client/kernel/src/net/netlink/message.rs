//! Messages of netlink: requests taken apart, answers put together.

use linux_abi::layout::Reader;

use super::header;
use crate::{Errno, Result};

const HEADER: usize = 16;
const NLMSG_MIN_TYPE: u16 = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const F_REQUEST: u16 = 1;
const F_MULTI: u16 = 2;
const F_ACK: u16 = 4;
const F_DUMP: u16 = 0x300;
/// Bytes of answers that are put into one message.
const DATAGRAM: usize = 8192;

/// A request.
pub(super) struct Request {
    pub(super) kind: u16,
    flags: u16,
    sequence: u32,
    /// The header, which errors send back.
    head: Vec<u8>,
    /// What follows the header.
    pub(super) body: Vec<u8>,
}

impl Request {
    /// The requests in one message, as far as their lengths make sense.
    pub(super) fn all(mut data: &[u8]) -> Vec<Self> {
        let mut all = Vec::new();
        while data.len() >= HEADER {
            let reader = Reader::new(data);
            let len = reader.u32(0) as usize;
            let Some(raw) = data.get(..len).filter(|raw| raw.len() >= HEADER) else { break };
            let (head, body) = raw.split_at(HEADER);
            all.push(Self {
                kind: reader.u16(4),
                flags: reader.u16(6),
                sequence: reader.u32(8),
                head: head.to_vec(),
                body: body.to_vec(),
            });
            data = data.get(len.next_multiple_of(4)..).unwrap_or_default();
        }
        all
    }

    /// Whether it asks for something.
    pub(super) fn asks(&self) -> bool {
        self.flags & F_REQUEST != 0 && self.kind >= NLMSG_MIN_TYPE
    }

    /// Whether all there is is asked for.
    pub(super) fn is_dump(&self) -> bool {
        self.flags & F_DUMP != 0
    }

    /// The attribute of a type, behind a fixed part of this length.
    pub(super) fn attribute(&self, fixed: usize, kind: u16) -> Option<&[u8]> {
        let mut rest = self.body.get(fixed.next_multiple_of(4)..)?;
        while rest.len() >= 4 {
            let reader = Reader::new(rest);
            let len = usize::from(reader.u16(0));
            let data = rest.get(4..len)?;
            if reader.u16(2) & 0x3fff == kind {
                return Some(data);
            }
            rest = rest.get(len.next_multiple_of(4)..)?;
        }
        None
    }
}

/// The answers to a request.
pub(super) struct Answers {
    done: Vec<Vec<u8>>,
    current: Vec<u8>,
    sequence: u32,
    to: u32,
    flags: u16,
    /// Where the message being made begins.
    start: usize,
}

impl Answers {
    pub(super) fn new(request: &Request, to: u32) -> Self {
        let flags = if request.is_dump() { F_MULTI } else { 0 };
        Self { done: Vec::new(), current: Vec::new(), sequence: request.sequence, to, flags, start: 0 }
    }

    /// Begins a message with its fixed part.
    pub(super) fn begin(&mut self, kind: u16, fixed: &[u8]) {
        if self.current.len() > DATAGRAM - 1024 {
            self.done.push(std::mem::take(&mut self.current));
        }
        self.start = self.current.len();
        self.current.extend_from_slice(&header(0, kind, self.flags, self.sequence, self.to));
        self.current.extend_from_slice(fixed);
        self.pad();
    }

    fn pad(&mut self) {
        self.current.resize(self.current.len().next_multiple_of(4), 0);
    }

    /// Adds an attribute.
    pub(super) fn attribute(&mut self, kind: u16, data: &[u8]) {
        self.current.extend_from_slice(&((data.len() + 4) as u16).to_le_bytes());
        self.current.extend_from_slice(&kind.to_le_bytes());
        self.current.extend_from_slice(data);
        self.pad();
    }

    pub(super) fn attribute_word(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_le_bytes());
    }

    /// Ends the message.
    pub(super) fn end(&mut self) {
        let len = (self.current.len() - self.start) as u32;
        if let Some(room) = self.current.get_mut(self.start..self.start + 4) {
            room.copy_from_slice(&len.to_le_bytes());
        }
    }

    /// All answers, with what says how it went.
    pub(super) fn finish(mut self, request: &Request, result: Result<()>) -> Vec<Vec<u8>> {
        let errno = result.err().map_or(0, Errno::number);
        if errno == 0 && request.is_dump() {
            self.current.extend_from_slice(&header(HEADER + 4, NLMSG_DONE, F_MULTI, self.sequence, self.to));
            self.current.extend_from_slice(&0u32.to_le_bytes());
        } else if errno != 0 || request.flags & F_ACK != 0 {
            if !self.current.is_empty() {
                self.done.push(std::mem::take(&mut self.current));
            }
            // An error brings the whole request back, an acknowledgement its header.
            let body: &[u8] = if errno != 0 { &request.body } else { &[] };
            let len = 2 * HEADER + 4 + body.len();
            self.current.extend_from_slice(&header(len, NLMSG_ERROR, 0, self.sequence, self.to));
            self.current.extend_from_slice(&errno.wrapping_neg().to_le_bytes());
            self.current.extend_from_slice(&request.head);
            self.current.extend_from_slice(body);
        }
        if !self.current.is_empty() {
            self.done.push(self.current);
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_with_lengths_that_lie_are_left_alone() {
        let mut raw = header(20, 18, 0x301, 7, 0).to_vec();
        raw.extend_from_slice(&[0; 4]);
        assert_eq!(Request::all(&raw).len(), 1);
        raw[0] = 200;
        assert!(Request::all(&raw).is_empty());
        raw[0] = 3;
        assert!(Request::all(&raw).is_empty());
    }

    #[test]
    fn a_dump_ends_with_done_and_an_error_brings_the_request_back() {
        let dump = Request::all(&header(16, 18, 0x301, 7, 0)).remove(0);
        let done = Answers::new(&dump, 9).finish(&dump, Ok(()));
        assert_eq!(done, [[20, 0, 0, 0, 3, 0, 2, 0, 7, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0]]);
        let error = Answers::new(&dump, 9).finish(&dump, Err(Errno::EPERM));
        assert_eq!(error[0].len(), 36);
        assert_eq!(error[0][16..20], (-1i32).to_le_bytes());
    }
}

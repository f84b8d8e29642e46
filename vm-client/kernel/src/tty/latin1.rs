//! Character classes as Linux's terminal code sees them: ISO 8859-1, whatever the user's locale.

/// Letters and digits.
pub(super) fn is_alphanumeric(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || is_upper(byte) || is_lower(byte)
}

/// The small letter of a capital one.
pub(super) fn to_lower(byte: u8) -> u8 {
    if is_upper(byte) { byte + 32 } else { byte }
}

/// The capital letter of a small one; sharp s and y with diaeresis have none.
pub(super) fn to_upper(byte: u8) -> u8 {
    if is_lower(byte) && byte != 0xdf && byte != 0xff { byte - 32 } else { byte }
}

fn is_upper(byte: u8) -> bool {
    byte.is_ascii_uppercase() || (matches!(byte, 0xc0..=0xde) && byte != 0xd7)
}

fn is_lower(byte: u8) -> bool {
    byte.is_ascii_lowercase() || (byte >= 0xdf && byte != 0xf7)
}

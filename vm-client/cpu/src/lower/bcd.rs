//! Decimal arithmetic.

use iced_x86::{Instruction, Mnemonic};

use crate::assist::AssistId;
use crate::ir::Builder;

pub(super) fn lower(b: &mut Builder, insn: &Instruction) -> Option<()> {
    let id = match insn.mnemonic() {
        Mnemonic::Daa => AssistId::Daa,
        Mnemonic::Das => AssistId::Das,
        Mnemonic::Aaa => AssistId::Aaa,
        Mnemonic::Aas => AssistId::Aas,
        Mnemonic::Aam => AssistId::Aam,
        Mnemonic::Aad => AssistId::Aad,
        _ => return None,
    };
    let base = if matches!(id, AssistId::Aam | AssistId::Aad) { insn.immediate8() } else { 0 };
    b.assist(id, [0, base, 0, 0], 0);
    Some(())
}

//! `movs` and `stos`, repeated or not: upwards, inside one page on either side, they are one bulk instruction. The assist
//! does the rest, page by page.

use vm_cpu::assist::BlockMove;
use vm_cpu::flags::bit;
use vm_cpu::ir::{Op, Slot};
use vm_cpu::{Segment, reg};
use vm_mem::GOES_ON;

use super::{Emitter, Label, local};

const EAX: u8 = reg::RAX as u8;
const ECX: u8 = reg::RCX as u8;
const ESI: u8 = reg::RSI as u8;
const EDI: u8 = reg::RDI as u8;
const PAGE: i32 = 4096;

impl Emitter<'_> {
    /// Emits one of these.
    pub(super) fn block_move(&mut self, op: &Op, what: BlockMove) {
        let element = i32::from(what.element);
        let first_frame = self.config.first_frame as i32;
        self.open_block(Label::Plain);
        self.open_block(Label::Plain);
        // Branches to the innermost label leave it to the assist.
        let flags = self.other_flags_at();
        let extra_segment = self.slot_at(Slot::segment_base(Segment::Es as usize).0);
        self.w().i32_const(0).i32_load(flags).i32_const(bit::DF as i32).i32_and();
        self.w().i32_const(0).i32_load(extra_segment).i32_or();
        self.br_if(0, false);
        if what.repeated {
            self.get32(ECX);
            self.w().i32_const(PAGE / element).i32_gt_u();
            self.br_if(0, false);
            self.get32(ECX);
            self.w().i32_const(element).i32_mul();
        } else {
            self.w().i32_const(element);
        }
        self.w().local_set(local::SCRATCH);
        self.in_one_page(EDI, true);
        self.w().local_set(local::SCRATCH2);
        if what.copies {
            self.in_one_page(ESI, false);
            self.w().local_set(local::WORD);
            // Just behind its source a destination repeats what was written a moment ago.
            self.w().local_get(local::SCRATCH2).local_get(local::WORD).i32_sub().local_get(local::SCRATCH).i32_lt_u();
            self.w().br_if(0);
            self.w().local_get(local::SCRATCH2).i32_const(first_frame).i32_add();
            self.w().local_get(local::WORD).i32_const(first_frame).i32_add();
            self.w().local_get(local::SCRATCH).memory_copy(0, 0);
        } else {
            if element > 1 {
                // A byte repeated, as zero is.
                self.get32(EAX);
                self.w().i32_const(if element == 2 { 0xffff } else { -1 }).i32_and();
                self.get32(EAX);
                self.w().i32_const(0xff).i32_and();
                self.w().i32_const(if element == 2 { 0x0101 } else { 0x0101_0101 }).i32_mul().i32_ne().br_if(0);
            }
            self.w().local_get(local::SCRATCH2).i32_const(first_frame).i32_add();
            self.get32(EAX);
            self.w().local_get(local::SCRATCH).memory_fill(0);
        }
        for register in if what.copies { &[EDI, ESI][..] } else { &[EDI][..] } {
            self.get32(*register);
            self.w().local_get(local::SCRATCH).i32_add();
            self.set32(*register);
        }
        if what.repeated {
            self.w().i32_const(0);
            self.set32(ECX);
        }
        // No more to do, and no code was changed.
        self.w().i32_const(0).local_set(local::HOW);
        self.w().i64_const(0);
        self.set64(op.dst);
        self.w().br(1);
        self.close();
        self.call_assist_with_state(op);
        self.close();
    }

    /// Pushes where the data at a register is; leaves it to the assist unless as many bytes as the scratch local says are
    /// in one page that needs no slow path.
    fn in_one_page(&mut self, register: u8, stores: bool) {
        self.get32(register);
        self.look_into_table(stores);
        self.w().local_get(local::WORD).i32_eqz();
        self.br_if(0, false);
        self.w().local_get(local::ADDRESS).i32_const(PAGE - 1).i32_and().local_get(local::SCRATCH).i32_add();
        self.w().i32_const(PAGE).i32_gt_u();
        self.br_if(0, false);
        self.w().local_get(local::WORD).i32_const(!(GOES_ON as i32)).i32_and().local_set(local::WORD);
        self.place_of_data();
    }
}

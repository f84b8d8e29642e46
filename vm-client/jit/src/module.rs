//! Puts functions together to a module.

use std::borrow::{Borrow, Cow};

use vm_cpu::assist::direct::Direct;
use wasm_encoder::{
    BranchHint, BranchHints, CodeSection, ConstExpr, ElementSection, Elements, EntityType, ExportKind, ExportSection,
    Function as Body, FunctionSection, ImportSection, InstructionSink, MemoryType, Module, NameMap, NameSection,
    RefType, TableType, TypeSection, ValType,
};

use crate::emit::{Function, GO_ON, INDEX_BYTES};
use crate::x87;

/// The type of a region's function: depth to result.
pub const REGION_TYPE: u32 = 0;
const REQUEST_TYPE: u32 = 1;
/// The type of functions of two 80-bit numbers.
pub const BINARY_TYPE: u32 = 2;
/// The type of functions of one.
pub const UNARY_TYPE: u32 = 3;
/// The types of the functions of [`x87`], which return the word beside a result as well.
const LOCAL_BINARY_TYPE: u32 = 4;
const LOCAL_UNARY_TYPE: u32 = 5;
const TABLE: TableType =
    TableType { element_type: RefType::FUNCREF, minimum: 0, maximum: None, table64: false, shared: false };
/// The number of the imported function that makes requests.
pub const REQUEST: u32 = 0;

/// The bytes of a module that puts each function into its slot of the table.
pub fn module<F: Borrow<Function>>(functions: &[(u32, F)]) -> Vec<u8> {
    let mut code = CodeSection::new();
    let (mut names, mut hints) = (NameMap::new(), BranchHints::new());
    let mut add = |function: &Function| {
        let mut body = Body::new_with_locals_types(function.locals.iter().copied());
        let locals = body.byte_len();
        body.raw(function.code.iter().copied());
        code.function(&body);
        locals
    };
    let wanted = functions.iter().find_map(|(_, function)| function.borrow().x87);
    let brought: &[Direct] = if wanted.is_some() { &x87::LOCAL } else { &[] };
    for what in brought {
        wanted.iter().for_each(|behind| {
            add(&x87::function(*what, behind));
        });
    }
    for (index, (_, function)) in (REQUEST + 1 + brought.len() as u32..).zip(functions) {
        let mut function = function.borrow().clone();
        for at in std::mem::take(&mut function.calls_itself) {
            if let Some(place) = function.code.get_mut(at..at + INDEX_BYTES) {
                place.copy_from_slice(&padded(index));
            }
        }
        let locals = add(&function);
        if !function.hints.is_empty() {
            let hint = |&(at, taken): &(usize, bool)| BranchHint {
                branch_func_offset: (locals + at) as u32,
                branch_hint_value: u32::from(taken),
            };
            hints.function_hints(index, function.hints.iter().map(hint));
        }
        names.append(index, &format!("guest {:#x}", function.start));
    }
    finish(brought, &functions.iter().map(|(slot, _)| *slot).collect::<Vec<_>>(), &code, &names, &hints)
}

/// A number in as many bytes of LEB128 as the largest need.
fn padded(number: u32) -> [u8; INDEX_BYTES] {
    std::array::from_fn(|i| {
        let more = if i + 1 < INDEX_BYTES { 0x80 } else { 0 };
        ((number >> (7 * i)) as u8 & 0x7f) | more
    })
}

/// A module with one function that only tells to go on; for cells and slots that have no other.
pub fn unlinked(slot: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    InstructionSink::new(&mut bytes).i32_const(GO_ON as i32).end();
    let mut body = Body::new([]);
    body.raw(bytes);
    let mut code = CodeSection::new();
    code.function(&body);
    finish(&[], &[slot], &code, &NameMap::new(), &BranchHints::new())
}

/// A module that exports `enter`, which takes a slot of the table and an argument and calls the function there.
pub fn entrance() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32; 2], [ValType::I32]);
    let mut imports = ImportSection::new();
    imports.import("env", "table", EntityType::Table(TABLE));
    let mut functions = FunctionSection::new();
    functions.function(1);
    let mut exports = ExportSection::new();
    exports.export("enter", ExportKind::Func, 0);
    let mut bytes = Vec::new();
    InstructionSink::new(&mut bytes).local_get(1).local_get(0).call_indirect(0, REGION_TYPE).end();
    let mut body = Body::new([]);
    body.raw(bytes);
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&exports).section(&code);
    module.finish()
}

/// A module that only installs where tail calls are known.
pub fn tail_call_probe() -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut bytes = Vec::new();
    InstructionSink::new(&mut bytes).return_call(0).end();
    let mut body = Body::new([]);
    body.raw(bytes);
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&code);
    module.finish()
}

fn finish(brought: &[Direct], slots: &[u32], code: &CodeSection, names: &NameMap, hints: &BranchHints) -> Vec<u8> {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32; 3], [ValType::I32]);
    types.ty().function([ValType::I64, ValType::I64, ValType::I32, ValType::I32], [ValType::I64]);
    types.ty().function([ValType::I64, ValType::I32, ValType::I32], [ValType::I64]);
    types.ty().function([ValType::I64, ValType::I64, ValType::I32, ValType::I32], [ValType::I64, ValType::I32]);
    types.ty().function([ValType::I64, ValType::I32, ValType::I32], [ValType::I64, ValType::I32]);
    let mut imports = ImportSection::new();
    let memory = MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None };
    imports.import("env", "memory", EntityType::Memory(memory));
    imports.import("env", "table", EntityType::Table(TABLE));
    imports.import("env", "request", EntityType::Function(REQUEST_TYPE));
    let mut functions = FunctionSection::new();
    let mut elements = ElementSection::new();
    for what in brought {
        functions.function(if what.is_binary() { LOCAL_BINARY_TYPE } else { LOCAL_UNARY_TYPE });
    }
    for (i, &slot) in slots.iter().enumerate() {
        functions.function(REGION_TYPE);
        let numbers = [REQUEST + 1 + brought.len() as u32 + i as u32];
        elements.active(None, &ConstExpr::i32_const(slot as i32), Elements::Functions(Cow::Owned(numbers.to_vec())));
    }
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&elements);
    if !hints.is_empty() {
        module.section(hints);
    }
    module.section(code);
    // What profilers of the host show.
    let mut section = NameSection::new();
    section.functions(names);
    module.section(&section);
    module.finish()
}

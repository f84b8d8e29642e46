// The Worker's module: the handler and the Durable Object class, around the wasm module that is built beside it.
//
// A trap leaves a wasm instance in an unknown state. The next request, or the next message of a sleeping socket, gets a
// fresh one: memory and sessions of the old are lost, and clients connect anew.

import { DurableObject, WorkerEntrypoint } from "cloudflare:workers";

import * as skiff from "./index.js";

let generation = 0;
let broken = false;

addEventListener("error", ({ error }) => note(error));

function note(error) {
  if (error instanceof WebAssembly.RuntimeError) {
    console.error("the Worker trapped and starts afresh", error);
    broken = true;
  }
}

/** Calls into the module, after a trap into a fresh instance of it. */
async function call(work) {
  if (broken || skiff.__worker_init_state().criticalError) {
    broken = false;
    skiff.__worker_init_state().criticalError = false;
    skiff.__wbg_reset_state();
    generation += 1;
  }
  try {
    return await work();
  } catch (error) {
    note(error);
    throw error;
  }
}

export default class extends WorkerEntrypoint {
  fetch(request) {
    return call(() => skiff.fetch(request, this.env, this.ctx));
  }
}

export class SocketObject extends DurableObject {
  #inner;
  #generation = -1;

  #object() {
    if (this.#generation !== generation) {
      this.#inner = new skiff.SocketObject(this.ctx, this.env);
      this.#generation = generation;
    }
    return this.#inner;
  }

  fetch(request) {
    return call(() => this.#object().fetch(request));
  }

  webSocketMessage(socket, message) {
    return call(() => this.#object().webSocketMessage(socket, message));
  }

  webSocketClose(socket, code, reason, clean) {
    return call(() => this.#object().webSocketClose(socket, code, reason, clean));
  }

  webSocketError(socket, error) {
    return call(() => this.#object().webSocketError(socket, error));
  }
}

// The event log of one session in the browser: every event, the state after the last one, and the state at any other.

import { fold } from "./fold.js";
import { Marks } from "./marks.js";
import { fork, newTree } from "./state.js";

const MAX_CHECKPOINTS = 64;
const FIRST_INTERVAL = 500;

/** An event came that is not the next one: the connection has to start again from what is known. */
export class OutOfOrder extends Error {}

export class EventLog {
  constructor() {
    this.events = [];
    this.live = newTree();
    this.marks = new Marks();
    this.checkpoints = [newTree()];
    this.interval = FIRST_INTERVAL;
    this.cursor = null;
  }

  get last() {
    return this.events.length;
  }

  get startedAt() {
    return this.events.length ? this.events[0].at : 0;
  }

  get endedAt() {
    return this.events.length ? this.events[this.events.length - 1].at : 0;
  }

  event(seq) {
    return this.events[seq - 1];
  }

  /** Take in consecutive events; those that are here already are skipped. */
  add(events) {
    for (const event of events) {
      if (event.seq <= this.last) continue;
      if (event.seq !== this.last + 1) throw new OutOfOrder(`event ${event.seq} after ${this.last}`);
      fold(this.live, event);
      this.events.push(event);
      this.marks.add(event);
      if (event.seq % this.interval === 0) this.#keep();
    }
  }

  /** The state after `seq` events. Valid until the next call. */
  stateAt(seq) {
    if (seq >= this.last) return this.live;
    const base = this.#checkpointBefore(seq);
    let from = this.cursor;
    if (from === null || from.seq > seq || from.seq < base.seq) from = fork(base);
    for (let n = from.seq; n < seq; n++) fold(from, this.events[n]);
    this.cursor = from;
    return from;
  }

  /** The last event at or before this time. */
  seqAt(time) {
    let low = 0;
    let high = this.events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.events[middle].at <= time) low = middle + 1;
      else high = middle;
    }
    return Math.max(low, 1);
  }

  #keep() {
    this.checkpoints.push(fork(this.live));
    if (this.checkpoints.length <= MAX_CHECKPOINTS) return;
    // Twice as far apart: a log of any length is a bounded number of events away from a checkpoint.
    this.interval *= 2;
    this.checkpoints = this.checkpoints.filter((state) => state.seq % this.interval === 0);
  }

  #checkpointBefore(seq) {
    let best = this.checkpoints[0];
    for (const state of this.checkpoints) if (state.seq <= seq) best = state;
    return best;
  }
}

// Playing the record: moves a position through the log at a multiple of the time it took, without the long pauses.

const LONGEST_PAUSE_MS = 1500;
const FRAME_MS = 50;

export class Playback {
  #timer = 0;

  /** `position()` is the seq now; `go(seq)` moves there; `onChange` hears when it starts and stops, `onEnd` that it came
   * to the end of the log. */
  constructor(log, { position, go, onChange, onEnd }) {
    this.log = log;
    this.position = position;
    this.go = go;
    this.onChange = onChange;
    this.onEnd = onEnd;
    this.speed = 4;
  }

  get playing() {
    return this.#timer !== 0;
  }

  toggle() {
    if (this.playing) this.stop();
    else this.#start();
  }

  stop() {
    if (!this.playing) return;
    clearInterval(this.#timer);
    this.#timer = 0;
    this.onChange();
  }

  #start() {
    if (this.log.last === 0) return;
    if (this.position() >= this.log.last) this.go(1);
    this.spent = 0;
    this.#timer = setInterval(() => this.#tick(), FRAME_MS);
    this.onChange();
  }

  #tick() {
    this.spent += FRAME_MS * this.speed;
    let seq = this.position();
    while (seq < this.log.last) {
      const pause = Math.min(LONGEST_PAUSE_MS, this.log.event(seq + 1).at - (this.log.event(seq)?.at ?? 0));
      if (pause > this.spent) break;
      this.spent -= Math.max(0, pause);
      seq += 1;
    }
    if (seq !== this.position()) this.go(seq);
    if (seq >= this.log.last) {
      this.stop();
      this.onEnd();
    }
  }
}

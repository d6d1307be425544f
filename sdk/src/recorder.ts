/** What the automatic parts know of the tracker they belong to. */
import type { EventFields, Options } from "./types.ts";

/** The moments of a page view that more than one part cares about. Listeners are called in order. */
export interface Moments {
  /** The page goes out of sight, perhaps for good; what is recorded here is still sent. */
  _hide: (() => void)[];
  /** The page view is over: another route, or the page goes away. Comes before the `page_leave`. */
  _end: (() => void)[];
  /** A page view began: the first one, another route, or a return from the back-forward cache. */
  _begin: (() => void)[];
}

/** The events that are listened to, by name. */
export type Everything = WindowEventMap & DocumentEventMap;

export interface Recorder {
  /** Complete: every option has its value. */
  _options: Required<Options>;
  _moments: Moments;
  /** Records an event, or does nothing where nothing may be recorded. Never throws. `at` is in ms since 1970. */
  _record(type: string, fields?: EventFields, at?: number): void;
  /** Listens, passively and before the page can stop the event; what fails in a listener stays out of the page. */
  _listen<Type extends keyof Everything>(
    target: EventTarget,
    type: Type,
    listener: (event: Everything[Type]) => void,
  ): void;
  /** From now on, events happen at this time and address instead of the present ones; without them, no longer. */
  _hold(at?: number, address?: string): void;
}

/** Starts one automatic part: registers its listeners, which live as long as the page. */
export type Capture = (recorder: Recorder) => void;

/** Code that a page calls, or that listens to it: what goes wrong in it must not break the page. */
import { complain } from "./announce.ts";

/** Returns the function with its errors caught and said. */
export const guard =
  <Values extends unknown[]>(run: (...values: Values) => void) =>
  (...values: Values): void => {
    try {
      run(...values);
    } catch (error) {
      complain(error);
    }
  };

/** Listens on the window, before the page's own listeners may stop an event; never delays scrolling. */
export const listen = <E extends Event>(types: string, listener: (event: E) => void): void =>
  types
    .split(" ")
    .forEach((type) => addEventListener(type, guard(listener) as EventListener, { capture: true, passive: true }));

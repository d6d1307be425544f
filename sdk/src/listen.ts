/**
 * Listens on the window before the page's own listeners, which may stop an event; never delays scrolling.
 * What goes wrong in the listener stays here: the page's console and its error reports are not ours.
 */
export const listen = <E extends Event>(types: string, listener: (event: E) => void) => {
  for (const type of types.split(" "))
    addEventListener(
      type,
      (event) => {
        try {
          listener(event as E);
        } catch {}
      },
      { capture: true, passive: true },
    );
};

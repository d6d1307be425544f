/** What Chromium's own tracing says of a script. */
import type { Page } from "playwright-core";

interface TraceEvent {
  name: string;
  ph: string;
  pid: number;
  tid: number;
  ts: number;
  /** Microseconds by the clock, and of the thread's own time. */
  dur?: number;
  tdur?: number;
  args: { data?: { url?: string; stackTrace?: { url: string }[] }; beginData?: { stackTrace?: { url: string }[] } };
}

export interface Trace {
  /** Time the processor spent on the longest task in which a script of this name ran. */
  longestTaskMs(script: string): number;
  /** Layouts and style recalculations that this script made the browser do at once. */
  layoutsForcedBy(script: string): string[];
}

const STACKS = ["disabled-by-default-devtools.timeline", "disabled-by-default-devtools.timeline.stack"];

/** Records what the browser does during `actions`; with stacks it says who asked for it, and takes longer itself. */
export async function traceOf(page: Page, withStacks: boolean, actions: () => Promise<void>): Promise<Trace> {
  const browser = page.context().browser();
  if (!browser) throw new Error("only a browser with contexts can be traced");
  const session = await browser.newBrowserCDPSession();
  const events: TraceEvent[] = [];
  session.on("Tracing.dataCollected", ({ value }) => events.push(...(value as unknown as TraceEvent[])));
  await session.send("Tracing.start", {
    transferMode: "ReportEvents",
    traceConfig: {
      includedCategories: ["toplevel", "devtools.timeline", ...(withStacks ? STACKS : [])],
    },
  });
  await actions();
  const complete = new Promise((resolve) => session.once("Tracing.tracingComplete", resolve));
  await session.send("Tracing.end");
  await complete;
  await session.detach();
  return read(events);
}

function read(events: TraceEvent[]): Trace {
  const frames = (event: TraceEvent) => event.args.beginData?.stackTrace ?? event.args.data?.stackTrace ?? [];
  return {
    longestTaskMs(script) {
      const tasks = events.filter((event) => /RunTask$/.test(event.name) && event.ph === "X");
      const runs = events.filter(
        (event) =>
          event.ph === "X" &&
          /^(EvaluateScript|FunctionCall)$/.test(event.name) &&
          event.args.data?.url?.includes(script),
      );
      const around = (run: TraceEvent) =>
        tasks.filter(
          (task) =>
            task.pid === run.pid &&
            task.tid === run.tid &&
            task.ts <= run.ts &&
            task.ts + task.dur! >= run.ts + run.dur!,
        );
      return Math.max(0, ...runs.flatMap(around).map((task) => (task.tdur ?? task.dur!) / 1000));
    },
    layoutsForcedBy(script) {
      return events
        .filter((event) => /^(Layout|UpdateLayoutTree|RecalculateStyles?)$/.test(event.name))
        .filter((event) => frames(event).some((frame) => frame.url.includes(script)))
        .map((event) => event.name);
    },
  };
}

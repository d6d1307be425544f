// doc: next-error
// app/error.tsx: what it catches never reaches the window, so it hands it over.
"use client";

import { useEffect } from "react";
import { journey } from "../lib/journey";

export default function ErrorPage({ error, reset }: { error: Error & { digest?: string }; reset: () => void }) {
  useEffect(() => {
    journey.trackError(error, { custom_properties: { digest: error.digest } });
  }, [error]);

  return <button onClick={reset}>Try again</button>;
}
// doc end

// doc: svelte-hooks
// src/hooks.client.ts: starts the SDK before the first page, and hands over what SvelteKit catches.
import type { HandleClientError } from "@sveltejs/kit";
import { journey } from "$lib/journey";

export const handleError: HandleClientError = ({ error, status }) => {
  if (status !== 404) journey.trackError(error);
};
// doc end

/**
 * Forms: `form_input` when a field is first touched, then `form_submit`, `form_error` or `form_abandon`.
 *
 * Names of fields and kinds of mistakes are recorded, never a value and never the browser's message, which may quote
 * one. Secret fields are never named; of a search form only the attempts to send it are recorded.
 */
import { listen } from "./listen.ts";
import type { Capture } from "./recorder.ts";
import { attribute, closest, isIgnored, selectorOf } from "./selector.ts";
import type { EventFields } from "./types.ts";

/** The service takes no longer id. */
const ID_LENGTH_MAX = 128;

/** Tried on type, autocomplete, name and id of a field. */
const SECRET = /pass|pwd|hidden|one-time|otp|card|cvv|cvc|iban|secur|\bcc|[^a-z](pin|ssn)([^a-z]|$)/i;

const isSecret = (field: HTMLInputElement) =>
  isIgnored(field) || SECRET.test([field.type, field.autocomplete, field.name, field.id].join(" "));

const nameOf = (field: HTMLInputElement) => field.name || field.id;

const idOf = (form: Element) =>
  (attribute(form, "id") || attribute(form, "name") || selectorOf(form)).slice(0, ID_LENGTH_MAX);

export const captureForms: Capture = (recorder) => {
  /** What to say of forms that were begun; by id, because a page may build the same form again. */
  const started = new Map<string, EventFields>();
  const seen = new Set<string>();
  /** Forms that somebody tried to send in this turn of the event loop, with the mistakes in them. */
  const attempts = new Map<Element, Set<string>>();
  let isAttempt = false;

  const mistakesOf = (form: Element) => attempts.get(form) || attempts.set(form, new Set()).get(form)!;

  /** A secret field makes the attempt fail like any other, but stays unnamed. */
  const addMistake = (form: Element, field: HTMLInputElement, kind: string) =>
    mistakesOf(form).add(isSecret(field) ? "" : nameOf(field) + ": " + kind);

  const decide = () => {
    isAttempt = false;
    attempts.forEach((mistakes, form) => {
      for (const field of form.querySelectorAll<HTMLInputElement>('[aria-invalid="true"]'))
        addMistake(form, field, "invalid");
      const form_id = idOf(form);
      if (mistakes.size) {
        recorder._record("form_error", { form_id, form_validation_errors: [...mistakes].filter(Boolean) });
      } else {
        started.delete(form_id);
        recorder._record("form_submit", { form_id });
      }
    });
    attempts.clear();
  };

  /** The field of a form that is watched closely, or nothing. */
  const fieldOf = (event: Event) => {
    const field = event.composedPath()[0] as HTMLInputElement;
    if (field.form && !isIgnored(field.form) && !closest(field.form, "[role=search],search")) return field;
  };

  listen("input change", (event) => {
    const field = fieldOf(event);
    if (!field || isSecret(field)) return;
    const form_id = idOf(field.form!);
    const fields = { form_id, form_field_name: nameOf(field) };
    const key = JSON.stringify(fields);
    if (!seen.has(key)) recorder._record("form_input", { ...fields, form_field_type: field.type });
    if (!seen.has(key) || started.has(form_id)) started.set(form_id, fields);
    seen.add(key);
  });

  // Pages check forms while somebody types, which makes `invalid` events, too: only those of an attempt count.
  listen("click submit", (event) => {
    isAttempt = true;
    setTimeout(decide);
    const form = event.target as Element;
    if (event.type === "submit" && !isIgnored(form)) mistakesOf(form);
  });
  listen("invalid", (event) => {
    const field = isAttempt && fieldOf(event);
    if (field)
      for (const kind in field.validity)
        if (field.validity[kind as keyof ValidityState]) addMistake(field.form!, field, kind);
  });

  recorder._moments._hide.push(decide);
  recorder._moments._end.push(() => {
    decide();
    started.forEach((fields) => recorder._record("form_abandon", fields));
    started.clear();
    seen.clear();
  });
};

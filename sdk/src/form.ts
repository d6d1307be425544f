/**
 * Forms: `form_input` when a field is first touched, then `form_submit`, `form_error` or `form_abandon`.
 *
 * Names of fields and kinds of mistakes are recorded, never a value and never the browser's message, which may quote
 * one. Secret fields are never named.
 */
import { listen } from "./listen.ts";
import { onEnd, onHide, record } from "./recorder.ts";
import { attribute, isIgnored, selectorOf } from "./selector.ts";

/** Tried on type, autocomplete, name and id of a field. */
const SECRET = /pass|pwd|one-time|otp|card|cv[cv]|iban|secur|\bcc|(\b|_)(pin|ssn)(\b|_)/i;

const isSecret = (field: HTMLInputElement) =>
  isIgnored(field) || SECRET.test([field.type, field.autocomplete, field.name, field.id].join(" "));

const nameOf = (field: HTMLInputElement) => field.name || field.id;

/** The service takes no longer id. */
const ID_LENGTH_MAX = 128;

const idOf = (form: Element) =>
  (attribute(form, "id") || attribute(form, "name") || selectorOf(form)).slice(0, ID_LENGTH_MAX);

export function captureForms(): void {
  /** Names of the fields touched in each form that was begun; by id, because a page may build the same form again. */
  const begun = new Map<string, string[]>();
  /** The form that somebody tries to send in this turn of the event loop, with the mistakes in it. */
  let form: HTMLFormElement | null = null;
  let mistakes = new Set<string>();
  let isTrying: boolean | undefined;

  /** A secret field makes the attempt fail like any other, but stays unnamed. */
  const addMistake = (field: HTMLInputElement, kind: string) =>
    mistakes.add((isSecret(field) ? "" : nameOf(field)) + ": " + kind);

  const decide = () => {
    isTrying = false;
    if (!form) return;
    form.querySelectorAll<HTMLInputElement>("[aria-invalid=true]").forEach((field) => addMistake(field, "invalid"));
    const form_id = idOf(form);
    if (mistakes.size) {
      record("form_error", { form_id, form_validation_errors: [...mistakes] });
    } else {
      begun.delete(form_id);
      record("form_submit", { form_id });
    }
    form = null;
    mistakes = new Set();
  };

  listen("input change", ({ target }) => {
    const field = target as HTMLInputElement;
    if (!field.form || isSecret(field)) return;
    const form_id = idOf(field.form);
    const form_field_name = nameOf(field);
    const names = begun.get(form_id) ?? [];
    if (names.includes(form_field_name)) return;
    names.push(form_field_name);
    begun.set(form_id, names);
    record("form_input", { form_id, form_field_name, form_field_type: field.type });
  });

  // Pages check forms while somebody types, which makes `invalid` events, too: only those of an attempt count.
  listen("click submit", ({ type, target }) => {
    isTrying = true;
    setTimeout(decide);
    if (type == "submit" && !isIgnored(target as Element)) form = target as HTMLFormElement;
  });
  listen("invalid", ({ target }) => {
    const field = target as HTMLInputElement;
    if (!isTrying || !field.form || isIgnored(field.form)) return;
    form = field.form;
    for (const kind in field.validity) if (field.validity[kind as keyof ValidityState]) addMistake(field, kind);
  });

  onHide.push(decide);
  onEnd.push(() => {
    begun.forEach((names, form_id) => record("form_abandon", { form_id, form_field_name: names.pop() }));
    begun.clear();
  });
}

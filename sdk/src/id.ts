/** Makes a UUID version 7: 48 bits of milliseconds, then random ones (RFC 9562, section 5.7; two of them are fixed here). */
export function makeId(): string {
  const time = "0" + Date.now().toString(16);
  return `${time.slice(0, 8)}-${time.slice(8)}-7rrr-8rrr-rrrrrrrrrrrr`.replace(/r/g, () =>
    (crypto.getRandomValues(new Uint8Array(1))[0]! & 15).toString(16),
  );
}

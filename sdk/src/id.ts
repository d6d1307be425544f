/** Makes a UUID version 7: 48 bits of milliseconds, then random ones (RFC 9562, section 5.7; two bits less, fixed). */
export function makeId(): string {
  return `0${Date.now().toString(16)}7rrr8rrrrrrrrrrrrrrr`
    .replace(/r/g, () => (crypto.getRandomValues(new Uint8Array(1))[0]! & 15).toString(16))
    .replace(/(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
}

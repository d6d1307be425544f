/** Returns an id as events have them, with its time; ids of the same moment sort by `place`. */
export const idAt = (ms: number, place = 0): string => {
  const time = ms.toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7000-8000-${String(place).padStart(12, "0")}`;
};

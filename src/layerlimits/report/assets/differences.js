"use strict";
// Differences between two texts by words, and texts whose hidden characters are visible.
const MOST_WORDS = 1500;

// C0 and C1 controls, and characters that change the direction of text or have no width.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g;

function visible(text) {
  return text.replace(HIDDEN, (letter) => {
    const code = letter.codePointAt(0);
    return code < 0x20 ? String.fromCodePoint(0x2400 + code) : `\u27e8U+${code.toString(16).toUpperCase().padStart(4, "0")}\u27e9`;
  });
}

const wordsOf = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];

// Pairs of [part, differs] of `text`: what is not in the longest common sequence with `base` differs.
function differences(base, text) {
  const [a, b] = [wordsOf(base), wordsOf(text)];
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start += 1;
  let end = 0;
  while (end < a.length - start && end < b.length - start && a.at(-1 - end) === b.at(-1 - end)) end += 1;
  const middle = [a.slice(start, a.length - end), b.slice(start, b.length - end)];
  const kept = middle[0].length <= MOST_WORDS && middle[1].length <= MOST_WORDS ? common(...middle) : new Set();
  const parts = [[b.slice(0, start).join(""), false]];
  middle[1].forEach((word, place) => {
    const differs = !kept.has(place);
    if (parts.at(-1)[1] === differs) parts.at(-1)[0] += word; else parts.push([word, differs]);
  });
  parts.push([end ? b.slice(-end).join("") : "", false]);
  return parts.filter(([part]) => part);
}

// The positions in `b` of a longest common sequence of `a` and `b`.
function common(a, b) {
  const width = b.length + 1;
  const lengths = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i -= 1) {
    for (let j = b.length - 1; j >= 0; j -= 1) {
      const [down, right] = [lengths[(i + 1) * width + j], lengths[i * width + j + 1]];
      lengths[i * width + j] = a[i] === b[j] ? lengths[(i + 1) * width + j + 1] + 1 : Math.max(down, right);
    }
  }
  const kept = new Set();
  for (let i = 0, j = 0; i < a.length && j < b.length;) {
    if (a[i] === b[j]) { kept.add(j); i += 1; j += 1; }
    else if (lengths[(i + 1) * width + j] >= lengths[i * width + j + 1]) i += 1;
    else j += 1;
  }
  return kept;
}

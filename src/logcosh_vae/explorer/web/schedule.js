// Work in small steps between frames, so that the page always answers.

const FRAME_MS = 12;

// Returns a schedule. `request(key, priority, step)` calls `step` in the next frames until it returns false; a request
// with a known key replaces the former one. Smaller priorities come first.
function makeSchedule() {
  const jobs = new Map();
  let waiting = false;

  function frame() {
    waiting = false;
    const end = performance.now() + FRAME_MS;
    do {
      const next = [...jobs.entries()].sort((a, b) => a[1].priority - b[1].priority)[0];
      if (next === undefined) return;
      const [key, job] = next;
      const more = job.step();
      if (!more && jobs.get(key) === job) jobs.delete(key);
    } while (performance.now() < end);
    wake();
  }

  function wake() {
    if (waiting || jobs.size === 0) return;
    waiting = true;
    requestAnimationFrame(frame);
  }

  return {
    request(key, priority, step) {
      jobs.set(key, { priority, step });
      wake();
    },
    get isIdle() {
      return jobs.size === 0;
    },
  };
}

/** Which worker gave which answer: a dot for each in the worker's colour, and the counters. */
import { call, onAnswer } from './api.ts'
import { attempt, find, make } from './elements.ts'

const DOTS = 80
const BURST = 100
const AT_ONCE = 6

const hues = new Map<string, number>()
const dots = find('dots')
let answers = 0
let failed = 0

/** A colour for each worker, as far from the others' as can be: the golden angle from one to the next. */
function hue(worker: string): number {
  let known = hues.get(worker)
  if (known === undefined) {
    known = Math.round((hues.size * 137.5 + 190) % 360)
    hues.set(worker, known)
  }
  return known
}

/** Gives an element the colour of a worker, named `host/pid`. */
export function paint(element: HTMLElement, worker: string): void {
  element.style.setProperty('--hue', String(hue(worker)))
}

onAnswer(({ worker, ok }) => {
  answers++
  if (!ok) failed++
  find('answers').textContent = String(answers)
  for (const id of ['failed', 'pulse-failed']) {
    find(id).textContent = String(failed)
    find(id).classList.toggle('bad', failed > 0)
  }
  const dot = make('span', { class: ok ? 'dot' : 'dot broken', title: worker || 'no answer' })
  if (worker) {
    paint(dot, worker)
    paint(find('pulse'), worker)
  }
  dots.prepend(dot)
  while (dots.children.length > DOTS) dots.lastChild?.remove()
  const recent = new Set([...dots.children].map((one) => one.getAttribute('title')))
  const from = `${recent.size} ${recent.size === 1 ? 'worker' : 'workers'}`
  dots.setAttribute('aria-label', `The last ${dots.children.length} answers came from ${from}`)
})

/** Shows which worker holds the live connection; `undefined` while there is none. */
export function showLive(worker: string | undefined): void {
  const live = find('live')
  live.textContent = worker ? (worker.split('/')[1] as string) : 'reconnecting'
  live.title = worker ?? ''
  live.classList.toggle('bad', !worker)
  live.classList.toggle('colored', Boolean(worker))
  if (worker) paint(live, worker)
}

// A browser keeps asking the same few workers over the connections that it has; many requests at once nearly always
// meet them all. Each lane has a URL of its own: who asks for the same one waits for its answer, and two connections would do.
find('burst').addEventListener('click', () =>
  attempt(async () => {
    let left = BURST
    const lane = async (_: unknown, index: number): Promise<void> => {
      while (left-- > 0) await call(`/photos?limit=${24 - index}`)
    }
    await Promise.all(Array.from({ length: AT_ONCE }, lane))
  }),
)

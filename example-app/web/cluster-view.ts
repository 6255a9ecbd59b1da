/** The workers of every host as tiles, a dot for each answer, the counters, and what an admin can do. */
import { call, onAnswer } from './api.ts'
import { attempt, find, make } from './elements.ts'
import type { User } from './session.ts'

interface Slot {
  slot: number
  role: string
  state: string
  restarts: number
  replacements: number
  pid?: number
  generation?: number
  uptime?: number
  requestsPerSecond?: number
  p99?: number
  connections?: { active: number; idle: number }
  loopDelay?: number
  utilization?: number
  cpu?: number
  memory?: number
  memoryLimit?: number
}
interface Launcher {
  id: string
  host: string
  name: string
  pid: number
  slots: Slot[]
  warnings: string[]
}

const DOTS = 60
const hues = new Map<string, number>()
const dots = find('dots')
const box = find('launchers')
let admin = false
let answers = 0
let failed = 0
let timer: number | undefined

/** A colour for each worker, as far from the others' as can be: the golden angle from one to the next. */
function hue(worker: string): number {
  let known = hues.get(worker)
  if (known === undefined) {
    known = Math.round((hues.size * 137.5 + 190) % 360)
    hues.set(worker, known)
  }
  return known
}

function paint(element: HTMLElement, worker: string): void {
  element.style.setProperty('--hue', String(hue(worker)))
}

onAnswer(({ worker, ok }) => {
  answers++
  if (!ok) failed++
  find('answers').textContent = String(answers)
  find('failed').textContent = String(failed)
  find('failed').classList.toggle('bad', failed > 0)
  const dot = make('span', { class: ok ? 'dot' : 'dot bad', title: worker || 'no answer' })
  if (worker) paint(dot, worker)
  dots.prepend(dot)
  while (dots.children.length > DOTS) dots.lastChild?.remove()
  const recent = new Set([...dots.children].map((one) => one.getAttribute('title')))
  dots.setAttribute(
    'aria-label',
    `The last ${dots.children.length} answers came from ${recent.size} ${recent.size === 1 ? 'worker' : 'workers'}`,
  )
})

export function showLive(text: string, good: boolean): void {
  const live = find('live')
  live.textContent = text
  live.classList.toggle('bad', !good)
}

export function startClusterView(user: User): void {
  admin = user.roles.includes('admin')
  find('cluster').hidden = false
  find('banner-form').hidden = !admin
  stopClusterView(false)
  const look = async (): Promise<void> => {
    try {
      draw((await call<{ launchers: Launcher[] }>('/cluster')).launchers)
    } catch {
      // It is counted; the next look follows.
    }
    timer = window.setTimeout(() => void look(), 1_000)
  }
  void look()
}

export function stopClusterView(hide = true): void {
  window.clearTimeout(timer)
  timer = undefined
  if (hide) find('cluster').hidden = true
}

function draw(launchers: Launcher[]): void {
  const focused = document.activeElement?.getAttribute('data-key')
  box.replaceChildren(...launchers.toSorted((a, b) => (a.host + a.pid < b.host + b.pid ? -1 : 1)).map(drawLauncher))
  if (focused) box.querySelector<HTMLElement>(`[data-key="${focused}"]`)?.focus()
}

function drawLauncher(launcher: Launcher): HTMLElement {
  const title = make('h3', {}, launcher.host, ' ', make('small', {}, `launcher ${launcher.pid}`))
  const section = make('section', { class: 'launcher' }, title)
  if (admin) {
    const { length } = launcher.slots
    section.append(
      make(
        'div',
        { class: 'actions' },
        action(launcher, 'Reload all', 'reload', { do: 'reload' }),
        action(launcher, 'Add a worker', 'more', { do: 'scale', to: Math.min(16, length + 1) }),
        action(launcher, 'Remove one', 'less', { do: 'scale', to: Math.max(1, length - 1) }),
      ),
    )
  }
  for (const warning of launcher.warnings) section.append(make('p', { class: 'bad' }, warning))
  section.append(make('ul', { class: 'tiles' }, ...launcher.slots.map((slot) => drawTile(launcher, slot))))
  return section
}

function drawTile(launcher: Launcher, slot: Slot): HTMLElement {
  const worker = `${launcher.host}/${slot.pid}`
  const tile = make('li', { class: `tile ${slot.state}` })
  if (slot.pid) paint(tile, worker)
  const { connections } = slot
  const rows: [string, string][] = [
    ['requests/s', text(slot.requestsPerSecond)],
    ['CPU', slot.cpu === undefined ? '–' : `${Math.round(slot.cpu * 100)} %`],
    ['memory', slot.memory === undefined ? '–' : `${Math.round(slot.memory / 1_048_576)} MB`],
    ['loop in use', slot.utilization === undefined ? '–' : `${Math.round(slot.utilization * 100)} %`],
    ['sockets', connections ? String(connections.active + connections.idle) : '–'],
    ['restarts', String(slot.restarts)],
  ]
  tile.append(
    make(
      'h4',
      {},
      make('span', { class: 'dot', 'aria-hidden': 'true' }),
      `pid ${slot.pid ?? '–'}`,
      ' ',
      make('span', { class: 'state' }, slot.role === 'web' ? slot.state : `${slot.role}, ${slot.state}`),
    ),
    make('dl', {}, ...rows.map(([name, value]) => make('div', {}, make('dt', {}, name), make('dd', {}, value)))),
  )
  if (admin && slot.pid)
    tile.append(
      make(
        'div',
        { class: 'actions' },
        action(
          launcher,
          'Replace',
          `restart-${slot.slot}`,
          { do: 'restart', slot: slot.slot },
          `Replace worker ${slot.pid}`,
        ),
        action(launcher, 'Kill', `kill-${slot.slot}`, { do: 'kill', slot: slot.slot }, `Kill worker ${slot.pid}`),
      ),
    )
  return tile
}

function action(launcher: Launcher, label: string, key: string, what: object, name = label): HTMLButtonElement {
  const button = make(
    'button',
    { type: 'button', class: 'quiet', 'data-key': `${launcher.id}-${key}`, 'aria-label': name },
    label,
  )
  button.addEventListener('click', () =>
    attempt(async () => {
      await call('/cluster', { method: 'POST', json: { launcher: launcher.id, ...what } })
    }),
  )
  return button
}

function text(value: number | undefined): string {
  return value === undefined ? '–' : String(value)
}

// GETs a URL at a steady rate, over kept-alive connections; prints p50 and p99 in ms from the moment each was sent.
import { Agent, get } from 'node:http'
import { setPriority } from 'node:os'

const { URL: url, RATE: rate, SECONDS: seconds, WARMUP: warmup } = process.env
// The clients of a service are on other machines. Here the sender has to get a core before all that it measures, or it
// counts its own waiting as the service's; without the right to that (root), it does.
try {
  setPriority(-15)
} catch {}
const agent = new Agent({ keepAlive: true })
const took = []
let failures = 0
let pending = 0
function once(counts) {
  const start = performance.now()
  pending++
  const end = (ok) => {
    pending--
    if (!ok) failures++
    else if (counts) took.push(performance.now() - start)
  }
  get(url, { agent }, (response) => response.resume().on('end', () => end(response.statusCode === 200))).on(
    'error',
    () => end(false),
  )
}
const start = performance.now()
const all = Number(rate) * (Number(warmup) + Number(seconds))
let sent = 0
await new Promise((resolve) => {
  const timer = setInterval(() => {
    const due = Math.min(all, Math.floor(((performance.now() - start) / 1_000) * rate))
    while (sent < due) once(sent++ >= rate * warmup)
    if (sent < all) return
    clearInterval(timer)
    resolve()
  }, 2)
})
while (pending > 0) await new Promise((resolve) => setTimeout(resolve, 10))
took.sort((a, b) => a - b)
const at = (share) => took[Math.floor(took.length * share)]
process.stdout.write(`${JSON.stringify({ p50: at(0.5), p99: at(0.99), failures })}\n`)
process.exit(0)

import { expect, test } from 'vitest'
import { createTail } from '../src/primary/tail.ts'

test.each([
  ['Error: boom', 'throw new Error("boom")\n      ^\n\nError: boom\n    at file:///app.js:3:9\n\nNode.js v20.20.0\n'],
  ['TypeError: x is not a function', 'TypeError: x is not a function\n    at main (file:///app.js:1:1)\n'],
  [
    'Error [ERR_SOCKET_CLOSED]: closed',
    "Error [ERR_SOCKET_CLOSED]: closed\n    at x (/app.js:1:1) {\n  code: 'ERR_SOCKET_CLOSED'\n}\n",
  ],
  ['MongoServerException: away', 'MongoServerException: away\n    at x (/app.js:1:1)\n'],
  ['the last words', 'something else\nthe last words\n\nNode.js v20.20.0\n'],
])('what an uncaught error says is the reason: %s', (reason, written) => {
  const tail = createTail()
  for (const piece of written.match(/[^]{1,7}/g) ?? []) tail.add(Buffer.from(piece))
  expect(tail.error()).toBe(reason)
})

/** Tells the bench where this server is, and ends with it. */
export async function serve(app) {
  await app.listen({ port: 0, host: '127.0.0.1' })
  process.stdout.write(`{"url":"http://127.0.0.1:${app.server.address().port}"}\n`)
  process.on('SIGTERM', () => process.exit(0))
}

/** Prints extra facts for the bench on the URL's line. */
export const list = Array.from({ length: 30 }, (_, id) => ({
  id: String(id),
  url: `https://cdn.example.com/photos/0190b1c2-7d3e-7000-8000-${String(id).padStart(12, '0')}.jpg`,
  thumbnailUrl: `https://cdn.example.com/thumbnails/0190b1c2-7d3e-7000-8000-${String(id).padStart(12, '0')}.webp`,
  caption: `Photo number ${id}, with a caption as people write them, ${'word '.repeat(id % 7)}`,
  author: `user${id % 5}`,
  likes: id * 3,
  createdAt: '2026-01-01T00:00:00.000Z',
}))

/** JSON of about so many bytes. */
export function jsonOf(bytes) {
  const rows = []
  while (JSON.stringify(rows).length < bytes) rows.push({ ...list[rows.length % list.length], id: String(rows.length) })
  return rows
}

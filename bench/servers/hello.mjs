// The application that the launchers are compared with: an ordinary Fastify plugin.
const list = Array.from({ length: 30 }, (_, id) => ({
  id,
  url: `https://cdn.example.com/photos/${id}.jpg`,
  caption: `Photo number ${id}`,
  author: 'someone',
}))

export default async function hello(app) {
  app.get('/', async () => ({ hello: 'world' }))
  app.get('/json', async () => ({ photos: list }))
  app.get('/slow', async () => {
    await new Promise((resolve) => setTimeout(resolve, 50))
    return { hello: 'world' }
  })
}

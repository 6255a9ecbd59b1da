const file = (path) => new URL(path, import.meta.url).pathname

/** Applications: modules with a Fastify plugin as their default export. */
export const APPS = {
  hello: file('../servers/hello.mjs'),
  silent: file('../servers/hello-silent.mjs'),
  board: file('../../example-app/dist/app.js'),
}
/** A worker of launchers that run a script. */
export const STANDALONE = file('../servers/standalone.mjs')

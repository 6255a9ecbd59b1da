// The example app in one process, without the launcher: what its `server.js` does.
import app, { options } from '../../example-app/dist/app.js'
import Fastify from 'fastify'
import { serve } from './print-url.mjs'

const server = Fastify({ ...options, logger: false })
await server.register(app)
await serve(server)

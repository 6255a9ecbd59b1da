import { CliError, type CliCommand } from '@fastify-scale/kit'
import { noMore, print, text, type Values } from './common.ts'

/** What `nginxConfig` writes a configuration for. */
export interface NginxOptions {
  /** Launchers: `host:port` or `unix:/path`. At least one. */
  upstreams: string[]
  /** What nginx listens on: a port, or address:port. Default `80`. */
  listen?: string
  /** Default `_`, any name. */
  serverName?: string
  /** Largest request body, as nginx writes sizes. Default `100m`; the app's own limits hold below it. */
  maxBody?: string
  /** Where websockets are asked for. Default `/socket.io/`; with `/` everything is let through as they are. */
  websocketPath?: string
  /** A whole nginx.conf for `nginx -p <dir> -c <file>`, in the foreground, rather than a file for conf.d. Default false. */
  standalone?: boolean
}

const UPSTREAM = /^(?:(?:[\w.-]+|\[[\da-f:.]+\]):\d{1,5}|unix:\/[\w./-]+)$/i
const LISTEN = /^(?:(?:[\w.-]+|\*|\[[\da-f:.]+\]):)?\d{1,5}$/i
const SERVER_NAME = /^[\w.*-]+(?: [\w.*-]+)*$/
const SIZE = /^\d+[kmg]?$/i
const PATH = /^\/[\w./-]*$/

/** An nginx configuration that loses no request while launchers are reloaded or stopped, and lets websockets through. */
export function nginxConfig(options: NginxOptions): string {
  const { upstreams, standalone = false } = options
  const { listen = '80', serverName = '_', maxBody = '100m', websocketPath = '/socket.io/' } = options
  if (upstreams.length === 0) throw new CliError('which launchers? fastify-scale nginx --upstream 10.0.0.1:3000', 2)
  for (const one of upstreams) check('upstream', one, UPSTREAM, '10.0.0.1:3000 or unix:/run/app.sock')
  check('listen', listen, LISTEN, '80 or 127.0.0.1:8080')
  check('server-name', serverName, SERVER_NAME, 'board.example.com')
  check('max-body', maxBody, SIZE, '100m')
  check('websocket-path', websocketPath, PATH, '/socket.io/')
  const site = siteConfig({ upstreams, listen, serverName, maxBody, websocketPath })
  return standalone ? STANDALONE.replace('SITE', () => site.replaceAll(/^(?=.)/gm, '  ').trim()) : site
}

function check(option: string, value: string, pattern: RegExp, example: string): void {
  if (!pattern.test(value)) throw new CliError(`--${option} must look like ${example}, but is '${value}'`, 2)
}

/**
 * Source: nginx.org/en/docs/http/ngx_http_proxy_module.html and ngx_http_upstream_module.html. Nothing is retried that
 * was sent and is not idempotent: `proxy_next_upstream` without `non_idempotent`.
 */
function siteConfig(options: Required<Omit<NginxOptions, 'standalone'>>): string {
  const { upstreams, listen, serverName, maxBody, websocketPath } = options
  // nginx refuses the same location twice.
  const others = `location / {
    proxy_pass http://fastify_scale;
    proxy_read_timeout 60s;
  }

  `
  return `# For redundancy run two balancers with this same file, and give the name one DNS A record for each.

upstream fastify_scale {
  # Shared by nginx's own processes, so that they agree on who is down.
  zone fastify_scale 128k;
  # Websockets last: the one with the fewest gets the next.
  least_conn;
  # Passive health checks: out for 5 s after 3 failures. A worker that crashed is no reason to give a whole host up.
${upstreams.map((one) => `  server ${one} max_fails=3 fail_timeout=5s;`).join('\n')}
  # Below the 72 s after which Fastify closes an idle connection: it is never closed under a request.
  keepalive 64;
  keepalive_timeout 60s;
}

# Without an upgrade the header is empty, and the connection is kept.
map $http_upgrade $fastify_scale_connection {
  default upgrade;
  '' '';
}

server {
  listen ${listen};
  server_name ${serverName};
  server_tokens off;

  # The app compresses, once for each body.
  gzip off;
  client_max_body_size ${maxBody};
  # An upload streams through: it is never on this machine's disk, and the app may refuse it at its first bytes.
  proxy_request_buffering off;

  proxy_http_version 1.1;
  proxy_set_header Host $http_host;
  proxy_set_header Upgrade $http_upgrade;
  proxy_set_header Connection $fastify_scale_connection;
  # Replaced, not added to: a client can't say who it is. Set the app's trustProxy to this machine's address.
  proxy_set_header X-Forwarded-For $remote_addr;
  proxy_set_header X-Forwarded-Proto $scheme;
  proxy_set_header X-Forwarded-Host $http_host;

  # On to the next launcher where none was reached, or where an idempotent request got no answer.
  proxy_connect_timeout 2s;
  proxy_next_upstream error timeout;
  proxy_next_upstream_tries 3;
  proxy_next_upstream_timeout 10s;

  ${websocketPath === '/' ? '' : others}location ${websocketPath} {
    proxy_pass http://fastify_scale;
    proxy_buffering off;
    proxy_read_timeout 1h;
    proxy_send_timeout 1h;
  }
}
`
}

const STANDALONE = `# Run with: nginx -e stderr -p <an empty directory> -c <this file>
daemon off;
worker_processes auto;
worker_shutdown_timeout 1h;
pid nginx.pid;
error_log stderr warn;

events {
  worker_connections 16384;
}

http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  default_type application/octet-stream;
  keepalive_timeout 75s;
  # A client that reconnects in a hurry is not made to wait for a small answer.
  tcp_nodelay on;

  SITE
}
`

export const nginx: CliCommand = {
  summary: 'print an nginx configuration for several launchers',
  usage: 'nginx --upstream <host:port> [--upstream <host:port>] [options]',
  options: {
    upstream: { type: 'string', short: 'u', multiple: true },
    listen: { type: 'string' },
    'server-name': { type: 'string' },
    'max-body': { type: 'string' },
    'websocket-path': { type: 'string' },
    standalone: { type: 'boolean' },
  },
  help: {
    upstream: 'where a launcher listens: host:port or unix:/path; once for each',
    listen: 'a port, or address:port; default 80',
    'server-name': 'default: any',
    'max-body': 'largest request body; default 100m',
    'websocket-path': 'default /socket.io/',
    standalone: 'a whole nginx.conf, to be run in the foreground, rather than a file for conf.d',
  },
  async run({ values, positionals }) {
    noMore(positionals)
    print(nginxConfig(optionsOf(values)).trimEnd())
  },
}

function optionsOf(values: Values): NginxOptions {
  const { upstream = [] } = values
  return {
    upstreams: [upstream].flat().map(String),
    listen: text(values, 'listen'),
    serverName: text(values, 'server-name'),
    maxBody: text(values, 'max-body'),
    websocketPath: text(values, 'websocket-path'),
    standalone: values['standalone'] === true,
  }
}

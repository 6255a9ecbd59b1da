import { execFileSync } from 'node:child_process'

const REQUEST = ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1', '-subj', '/CN=localhost']

/** A key and a certificate for `localhost`, good for a day, in PEM, as `node:tls` takes them. Needs `openssl`. */
export function selfSigned(): { key: string; cert: string } {
  const pem = execFileSync('openssl', [...REQUEST, '-keyout', '-', '-out', '-'], {
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  return { key: pem, cert: pem }
}

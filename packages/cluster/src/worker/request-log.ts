/** The part of Fastify's `LogController` that matters here; older versions of Fastify 5 have none. */
type LogController = new () => { requestCompleted(error: unknown, ...rest: unknown[]): void; incomingRequest(): void }

/**
 * A log controller that does not write two lines for each request that went well, which costs more than a small handler.
 * Errors are logged as ever: Fastify's own `disableRequestLogging` would hide those too.
 */
export function quietRequests(fastify: object): object | undefined {
  const Base = (fastify as { LogController?: LogController }).LogController
  if (!Base) return undefined
  class QuietController extends Base {
    override incomingRequest(): void {}
    override requestCompleted(error: unknown, ...rest: unknown[]): void {
      if (error) super.requestCompleted(error, ...rest)
    }
  }
  return new QuietController()
}

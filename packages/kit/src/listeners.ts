/**
 * Calls a listener of the user's, now. What it throws goes to `onError`; so does what it rejects with, since it may be an async
 * function, which would end the process.
 */
export function callListener(listener: () => unknown, onError: (error: unknown) => void): void {
  void (async () => listener())().catch(onError)
}

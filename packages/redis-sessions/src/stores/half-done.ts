const done = new WeakMap<object, unknown>()

/** @returns the error, which from here on knows what was done before it; not as a field, since errors are logged and sessions are not */
export function withDone<E extends object> (error: E, value: unknown): E {
  done.set(error, value)
  return error
}

/** What a store did of what it then failed to make sure of: what the method resolves with where it does not fail. */
export function doneBefore<T> (error: unknown): T | undefined {
  return done.get(error as object) as T | undefined
}

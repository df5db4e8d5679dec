import { connect } from './ws/client.js'

/** Where the site is, also below a path. */
export const BASE = new URL('..', import.meta.url)

/** The session that a socket came with has ended. */
const SESSION_ENDED = 4401
const AGAIN_MS = 1000

// A form that is on its way leads somewhere already: signing out ends the session before its answer is here.
let leaving = false
window.addEventListener('submit', (event) => { if (!event.defaultPrevented) leaving = true })

// Who was connected here; another tab may sign somebody else in.
let known

/** @type {Promise<boolean> | undefined} */
let asked
let isOut = false

/** Whether who was signed in still is; who is not leaves. All sockets of the page ask at once. */
function staysSignedIn () {
  asked ??= isSignedInAfterAll().finally(() => { asked = undefined })
  return asked
}

/** Asked a second time: whoever changes the password or signs in anew in another tab has the new cookie with the answer, a moment after the old session ended. */
async function isSignedInAfterAll () {
  for (let n = 0; n < 2; n++) {
    if (n > 0) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS))
    if (await isSignedIn()) return true
  }
  isOut = true
  if (!leaving) window.location.assign(new URL(`sign-in?next=${encodeURIComponent(`/${window.location.pathname.slice(BASE.pathname.length)}`)}`, BASE))
  return false
}

async function isSignedIn () {
  try {
    const response = await fetch(new URL('api/1/auth/status', BASE))
    return !response.ok || (await response.json()).data.authenticated
  } catch {
    // Nobody can tell, and the connection is tried again.
    return true
  }
}

/**
 * A connection to a namespace of this site that shows its state in an element.
 * @param {string} namespace
 * @param {Element | null} [shown]
 */
export function open (namespace, shown = null) {
  const url = new URL(`api/1/ws/${namespace}`, BASE)
  url.protocol = window.location.protocol === 'https:' ? 'wss:' : 'ws:'
  // As a function: then the client comes back after its session has ended, with the cookie of that time. Until it is known that there is one it
  // does not: the browser would complain of the refusal.
  const address = async () => {
    await asked
    return isOut ? new Promise(() => {}) : url.href
  }
  const connection = connect(address, {
    onStatus (status, { code }) {
      if (shown !== null) {
        shown.textContent = status
        shown.className = `state ${status === 'connected' ? 'up' : 'connecting'}`
      }
      if (status === 'auth-required' || code === SESSION_ENDED) staysSignedIn()
    }
  })
  connection.on('connected', ({ userId }) => {
    if (known !== undefined && known !== userId) window.location.reload()
    known = userId
  })
  window.addEventListener('pagehide', () => connection.close())
  return connection
}

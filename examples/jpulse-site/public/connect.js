import { connect } from './ws/client.js'

/** Where the site is, also below a path. */
export const BASE = new URL('..', import.meta.url)

// A form that is on its way leads somewhere already: signing out ends the session before its answer is here.
let leaving = false
window.addEventListener('submit', (event) => { if (!event.defaultPrevented) leaving = true })

/**
 * A connection to a namespace of this site that shows its state in an element.
 * @param {string} namespace
 * @param {Element | null} [shown]
 */
export function open (namespace, shown = null) {
  const url = new URL(`api/1/ws/${namespace}`, BASE)
  url.protocol = window.location.protocol === 'https:' ? 'wss:' : 'ws:'
  const connection = connect(url.href, {
    onStatus (status) {
      if (shown !== null) {
        shown.textContent = status
        shown.className = `state ${status === 'connected' ? 'up' : 'connecting'}`
      }
      // The session has ended, here or on another device.
      if (status === 'auth-required' && !leaving) window.location.assign(new URL(`sign-in?next=${encodeURIComponent(`/${window.location.pathname.slice(BASE.pathname.length)}`)}`, BASE))
    }
  })
  window.addEventListener('pagehide', () => connection.close())
  return connection
}

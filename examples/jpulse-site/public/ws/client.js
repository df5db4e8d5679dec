// A small client of the protocol of @jpulse/ws-namespaces (packages/ws-namespaces/docs/protocol.md).

const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 10_000
const ANSWER_MS = 10_000
/** The server says so where coming back is of no use. */
const TERMINAL = new Map([[4401, 'auth-required'], [4403, 'auth-required']])

/**
 * Connects, and comes back by itself with what it missed.
 * @param {string} url ws: or wss:
 * @param {{ onStatus?: (status: string) => void }} [options]
 */
export function connect (url, { onStatus = () => {} } = {}) {
  const listeners = new Map()
  const waiting = new Map()
  const queue = []
  let [socket, offset, clientId, failures, lastId, closed, timer] = [null, null, null, 0, 0, false, null]

  const emit = (type, data, message) => { for (const listener of listeners.get(type) ?? []) listener(data, message) }
  const isOpen = () => socket !== null && socket.readyState === WebSocket.OPEN && clientId !== null

  function begin () {
    onStatus(failures === 0 ? 'connecting' : 'reconnecting')
    const target = new URL(url)
    if (offset !== null) target.searchParams.set('offset', offset)
    if (clientId !== null) target.searchParams.set('clientId', clientId)
    let greeted = false
    socket = new WebSocket(target)
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data)
      if (!greeted && message.type === 'connected') {
        greeted = true
        failures = 0
        clientId = message.data.clientId
        onStatus('connected')
        for (const text of queue.splice(0)) socket.send(text)
      }
      receive(message)
    }
    socket.onclose = async ({ code }) => {
      for (const { reject } of waiting.values()) reject(new Error('The connection was lost'))
      waiting.clear()
      if (closed) return
      const refused = greeted ? TERMINAL.get(code) : await whyRefused()
      if (closed) return
      if (refused !== undefined) {
        closed = true
        return onStatus(refused)
      }
      onStatus('reconnecting')
      // Full jitter, so that those who lost one worker do not all arrive at once.
      timer = setTimeout(begin, Math.random() * Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** failures++))
    }
  }

  /** Browsers hide why an upgrade was refused; a plain request of the same address is told. */
  async function whyRefused () {
    const page = new URL(url)
    page.protocol = page.protocol === 'wss:' ? 'https:' : 'http:'
    const status = await fetch(page).then((response) => response.status, () => 0)
    return status === 401 || status === 403 ? 'auth-required' : undefined
  }

  function receive (message) {
    if (message.offset !== undefined) offset = message.offset
    if (message.type === 'connected') offset = message.data.offset
    if (message.replyTo !== undefined) {
      const answer = waiting.get(message.replyTo)
      waiting.delete(message.replyTo)
      if (message.error !== undefined) answer?.reject(Object.assign(new Error(message.error.message), { code: message.error.code }))
      else answer?.resolve(message.data)
    } else if (message.type !== 'offset') {
      emit(message.type, message.data, message)
    }
  }

  function post (message) {
    const text = JSON.stringify(message)
    if (isOpen()) socket.send(text)
    else if (queue.length < 100) queue.push(text)
  }

  begin()
  return {
    send: (type, data) => post({ type, data }),
    request (type, data) {
      const id = ++lastId
      return new Promise((resolve, reject) => {
        const late = setTimeout(() => { waiting.delete(id); reject(new Error('There was no answer in time')) }, ANSWER_MS)
        const settle = (fn) => (value) => { clearTimeout(late); fn(value) }
        waiting.set(id, { resolve: settle(resolve), reject: settle(reject) })
        post({ type, data, id })
      })
    },
    on (type, listener) {
      if (!listeners.has(type)) listeners.set(type, [])
      listeners.get(type).push(listener)
    },
    close () {
      closed = true
      clearTimeout(timer)
      socket?.close(1000)
    }
  }
}

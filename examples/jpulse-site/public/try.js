// Swagger UI over the document of this site, once somebody wants to try an operation: it is far larger than all else of the site.
const list = document.querySelector('[data-operations]')
const place = document.querySelector('[data-try]')
const status = document.querySelector('[data-try-status]')
let begun = false

/** Its bundle is no module: it puts itself at the window. */
function load (tag, attributes) {
  const element = Object.assign(document.createElement(tag), attributes)
  return new Promise((resolve, reject) => {
    element.addEventListener('load', resolve)
    element.addEventListener('error', () => reject(new Error('Swagger UI could not be loaded.')))
    document.head.append(element)
  })
}

/** Its parts within this page: one `main`, headings in order, and no link within a button. */
function inSite ({ React: { createElement } }) {
  const part = (getComponent, name) => createElement(getComponent(name, true))
  return {
    // It would end where the list was; `show` scrolls.
    statePlugins: { layout: { wrapActions: { scrollToElement: () => () => ({ type: 'site_stays' }) } } },
    components: {
      DeepLink: ({ text }) => createElement('span', null, text),
      SiteLayout: ({ getComponent, specSelectors }) => createElement('div', { className: 'swagger-ui' },
        part(getComponent, 'errors'),
        specSelectors.loadingStatus() === 'success' && createElement('div', null,
          createElement('div', { className: 'schemes' }, createElement('h2', null, 'Operations'), part(getComponent, 'AuthorizeBtnContainer')),
          part(getComponent, 'operations')))
    }
  }
}

async function open () {
  if (begun || !location.hash.startsWith('#/')) return
  begun = true
  status.textContent = 'Loading …'
  const address = (file) => new URL(`swagger-ui/${file}`, import.meta.url).href
  try {
    await Promise.all([load('link', { rel: 'stylesheet', href: address('swagger-ui.css') }), load('script', { src: address('swagger-ui-bundle.js') })])
    const { SwaggerUIBundle } = window
    SwaggerUIBundle({
      domNode: place,
      url: document.querySelector('[data-document]').href,
      presets: [SwaggerUIBundle.presets.apis],
      plugins: [inSite],
      layout: 'SiteLayout',
      deepLinking: true,
      tryItOutEnabled: true,
      defaultModelsExpandDepth: -1,
      docExpansion: 'none',
      validatorUrl: null,
      onComplete: show
    })
  } catch (err) {
    begun = false
    status.textContent = err.message
  }
}

/** The operation that was chosen gets the focus, which was at its name in the list, as soon as it is there. */
function show () {
  list.remove()
  status.textContent = ''
  place.hidden = false
  const id = `operations-${decodeURIComponent(location.hash).slice(2).replace('/', '-')}`
  const reach = (_changes, observer) => {
    const operation = document.getElementById(id)
    if (!operation?.querySelector('.opblock-body')) return
    observer.disconnect()
    operation.querySelector('.opblock-summary-control').focus()
    operation.scrollIntoView()
  }
  const observer = new window.MutationObserver(reach)
  observer.observe(place, { childList: true, subtree: true })
  reach([], observer)
}

addEventListener('hashchange', open)
open()

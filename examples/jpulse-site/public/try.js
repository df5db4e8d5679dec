// Swagger UI over the document of this site. Its bundle is no module: it puts itself at the window.
const place = document.querySelector('#try')

const bundle = document.createElement('script')
bundle.src = new URL('swagger-ui/swagger-ui-bundle.js', import.meta.url).href
bundle.addEventListener('load', () => {
  const { SwaggerUIBundle } = window
  SwaggerUIBundle({
    domNode: place,
    url: place.querySelector('a').href,
    presets: [SwaggerUIBundle.presets.apis],
    deepLinking: true,
    tryItOutEnabled: true,
    defaultModelsExpandDepth: -1,
    docExpansion: 'none',
    validatorUrl: null
  })
})
document.head.append(bundle)

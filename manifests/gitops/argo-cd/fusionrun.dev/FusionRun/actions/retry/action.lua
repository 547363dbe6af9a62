local os = require("os")

obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["fusionrun.dev/retry"] = os.date("!%Y-%m-%dT%XZ")
return obj

-- Health of a FusionRun. The Lua of argocd-cm has no library for strings.
local status = obj.status or {}
local conditions = {}
for _, condition in ipairs(status.conditions or {}) do
  conditions[condition.type] = condition
end

local function is(kind, value)
  return conditions[kind] ~= nil and conditions[kind].status == value
end

local function message(kind)
  return conditions[kind] ~= nil and conditions[kind].message or ""
end

if status.observedGeneration ~= obj.metadata.generation or conditions.Ready == nil then
  return {status = "Progressing", message = "Waiting for the operator to observe the run"}
end

if is("Failed", "True") then
  local retry = (obj.metadata.annotations or {})["fusionrun.dev/retry"]
  -- The status has at most 128 characters of the annotation.
  if retry ~= nil and retry ~= "" and #retry <= 128 and retry ~= status.retry then
    return {status = "Progressing", message = "Waiting for the operator to retry the run"}
  end
  return {status = "Degraded", message = conditions.Failed.reason .. ": " .. message("Failed")}
end

if is("Complete", "True") then
  if is("EvaluationPassed", "False") then
    return {status = "Degraded", message = conditions.EvaluationPassed.reason .. ": " .. message("EvaluationPassed")}
  end
  return {status = "Healthy", message = message("Complete")}
end

if is("Suspended", "True") then
  return {status = "Suspended", message = message("Suspended")}
end

return {status = "Progressing", message = conditions.Ready.reason .. ": " .. message("Ready")}

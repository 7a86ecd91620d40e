# Unverified: written by the manual, not yet run on Windows.
# Run in PowerShell as administrator. The agent runs as a task that starts with
# the machine and is started again when it ends; no window, no signed-in user.
$action = New-ScheduledTaskAction -Execute '{{.Binary}}' -Argument 'connector run -f "{{.File}}"' -WorkingDirectory '{{.Dir}}'
$trigger = New-ScheduledTaskTrigger -AtStartup
$principal = New-ScheduledTaskPrincipal -UserId 'NT AUTHORITY\LOCAL SERVICE' -LogonType ServiceAccount
$settings = New-ScheduledTaskSettingsSet -RestartCount 999 -RestartInterval (New-TimeSpan -Minutes 1) -ExecutionTimeLimit ([TimeSpan]::Zero) -MultipleInstances IgnoreNew -StartWhenAvailable
# LOCAL SERVICE alone (and administrators) may read the folder with the key.
icacls '{{.Dir}}' /inheritance:r /grant 'NT AUTHORITY\LOCAL SERVICE:(OI)(CI)M' 'BUILTIN\Administrators:(OI)(CI)F'
Register-ScheduledTask -TaskName 'Behalf connector' -Action $action -Trigger $trigger -Principal $principal -Settings $settings
Start-ScheduledTask -TaskName 'Behalf connector'

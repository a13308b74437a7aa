"""Small made-up files in the form of the public ones."""

CITIBIKE_COLUMNS = (
    "ride_id,rideable_type,started_at,ended_at,start_station_name,start_station_id,"
    "end_station_name,end_station_id,start_lat,start_lng,end_lat,end_lng,member_casual"
)
STEPS_COLUMNS = "Id,ActivityDate,TotalSteps,TotalDistance,TrackerDistance,Calories"


def ride(
    ride_id,
    started_at,
    ended_at,
    *,
    station="JC1",
    start=("40.735208", "-74.046964"),
    end=("40.714584", "-74.042817"),
):
    """A row of Citi Bike's system data; without an end when it is ("", "")."""
    return (
        f'{ride_id},docked_bike,{started_at},{ended_at},"Grove, at Wayne",{station},'
        f"There,JC2,{start[0]},{start[1]},{end[0]},{end[1]},member"
    )


def steps(person, day, number, distance="1.50"):
    """A row of Fitabase's daily activity."""
    return f"{person},{day},{number},{distance},{distance},1800.00"


def write_csv(path, columns, rows):
    """The file with its rows, as such files come: with a byte order mark and CRLF."""
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([columns, *rows, ""]).encode())
    return path
